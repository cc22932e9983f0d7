# The comment at the top of a header, from its third line on, is what Doxygen says of the file.
3 s|^// |/// \\file\n/// |
4,/^$/ s|^// |/// |
