"""Makes pages of handwriting of which all is known: the text, the lines' paths, their height.

Real labelled pages are few and closed; made ones are free, and their ink can be real.

The way of the data: an ink source (`fonts`, `pen`, `scans`) writes single lines, `layout` sets
them on a page along skewed and wavy paths, `paper` turns ink into a scan or a photo.
`generator.PageGenerator` puts the three together.
"""
