"""What of notebooks, data and encoded blobs is indexed."""

import json
from typing import Any

import pytest

from rag.indexing import excerpts, notebooks
from rag.indexing.indexer import SourceFile, apply_skip_rules


def notebook(*cells: dict[str, Any], language: str = "python") -> str:
    return json.dumps({"cells": cells, "metadata": {"language_info": {"name": language}}, "nbformat": 4})


PICTURE = {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo" * 20_000, "text/plain": "<Figure>"}}
PRINTED = {"output_type": "stream", "name": "stdout", "text": ["loss 0.25\n"]}
MARKDOWN = {"cell_type": "markdown", "source": ["# Churn\n", "We predict churn."]}
CODE = {"cell_type": "code", "source": "model.fit(x)", "outputs": [PICTURE, PRINTED]}


def test_it_works() -> None:
    text = excerpts.excerpt("nb.ipynb", notebook(MARKDOWN, CODE))
    assert text == (
        "# Cell 1\n\n## Churn\nWe predict churn.\n\n"
        "# Cell 2\n\n```python\nmodel.fit(x)\n```\n\nOutput:\n\n```text\n<Figure>\nloss 0.25\n\n```\n"
    )


def test_outputs_are_shortened_and_pictures_dropped() -> None:
    long = {"output_type": "stream", "text": "x" * 10_000}
    text = excerpts.excerpt("nb.ipynb", notebook({**CODE, "outputs": [long]}))
    assert len(text) < notebooks.MAX_OUTPUT_CHARACTERS + 200
    file = apply_skip_rules(SourceFile("nb.ipynb", notebook(MARKDOWN, CODE)))
    assert file.reason is None and "iVBOR" not in (file.content or "") and "model.fit(x)" in (file.content or "")


def test_the_language_is_the_notebooks() -> None:
    assert "```julia\n" in excerpts.excerpt("nb.ipynb", notebook(CODE, language="julia"))


@pytest.mark.parametrize(
    "metadata", ['{"x": NaN}', "null", '{"x": "\\ud83d"}'], ids=["NaN", "no metadata", "half of a pair"]
)
def test_notebooks_that_jupyter_reads_are_read(metadata: str) -> None:
    cell = '{"cell_type": "code", "source": "fit() \\ud83d"}'
    content = f'{{"cells": [{cell}], "metadata": {metadata}}}'
    text = excerpts.excerpt("nb.ipynb", content)
    assert text == "# Cell 1\n\n```python\nfit() ?\n```\n"


@pytest.mark.parametrize("content", ["no JSON", "[]", "{}", '{"cells": 5}', '{"cells": [5]}', '{"worksheets": []}'])
def test_what_is_no_notebook_is_data(content: str) -> None:
    assert excerpts.excerpt("nb.ipynb", content) == content


def test_a_blob_costs_itself_and_no_line() -> None:
    source = f"ICON = '{'QUJD' * 5_000}'\n\ndef show():\n    return ICON\n"
    file = apply_skip_rules(SourceFile("icon.py", source))
    assert file.content == "ICON = '[20000 characters of data]'\n\ndef show():\n    return ICON\n"


@pytest.mark.parametrize("name", ["data.csv", "logo.svg", "Cargo.lock", "pnpm-lock.yaml", "fixture.json"])
def test_data_is_represented_by_its_head(name: str) -> None:
    file = apply_skip_rules(SourceFile(name, "a,b,c\n" * 20_000))
    assert file.reason is None and 0 < len(file.content or "") <= excerpts.MAX_DATA_CHARACTERS


def test_short_configuration_and_code_are_whole() -> None:
    for name, content in (("tsconfig.json", "{}\n" * 1_000), ("a.py", "x = 1\n" * 20_000)):
        assert apply_skip_rules(SourceFile(name, content)).content == content
