"""How many bytes a file of code search counts for."""

MIN_FILE_BYTES = 200  # an empty file has rows too
# The same of a file in the index, whose content is kept as its chunks only.
OF_CHUNKS = f"""
    GREATEST({MIN_FILE_BYTES}, octet_length(file.path) + COALESCE(
        (SELECT sum(octet_length(content)) FROM rag_chunk WHERE rag_chunk.file_id = file.id), 0
    ))
"""  # noqa: S608 - a number


def of(path: str, content: str) -> int:
    """Return the bytes of path and content in UTF-8, MIN_FILE_BYTES at least."""
    return max(MIN_FILE_BYTES, len(path.encode(errors="replace")) + len(content.encode(errors="replace")))
