"""The networks: `LineReader` reads a straight line, `LineFinder` finds the lines of a page, and
`ParagraphReader` is both in one module that `torch.jit.script` takes whole.
"""
