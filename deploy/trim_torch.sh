#!/bin/sh
# Removes from an installed PyTorch what reading pages never touches, about 340 MB: headers and
# tools for building extensions, its own tests, what only torch.compile and torch.export use, and
# symbols for debuggers. An image that uses this must prove that it still reads.
set -eu
cd "$1"

# The manager is looked for when torch is imported.
find torch/bin -mindepth 1 ! -name torch_shm_manager -delete
rm -rf torch/include torch/share torch/test
rm -f torch/lib/*_test.so torch/lib/libbackend_with_compiler.so torch/lib/libaoti_custom_ops.so
find . -name '*.a' -delete

# torch.compile and torch.export do symbolic arithmetic; setuptools builds extensions.
rm -rf sympy sympy-* isympy.py mpmath mpmath-* networkx networkx-* setuptools setuptools-* \
    _distutils_hack distutils-precedence.pth pkg_resources bin share

# Only PyTorch's own libraries: those that auditwheel changed, as NumPy's, break when stripped.
find torch -name '*.so*' -type f -exec strip --strip-unneeded {} +
