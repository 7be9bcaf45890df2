"""InsightFace's `.rec` files: records and their keys, the files beside them, and the dataset they make."""
