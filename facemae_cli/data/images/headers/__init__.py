"""What an encoded image says of itself before anything is decoded: our own bounded readers, a format each.

They only read headers; pixels are decoded and encoded in `data.images.codec`.
"""
