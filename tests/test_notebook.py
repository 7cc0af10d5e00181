"""The notebook runs from its first cell to its last and shows what it did when it was stored."""

import json
import os
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "experiments" / "own_table.ipynb"


def kinds(cell):
    """What a cell shows, but for the text that it prints and the places of bars that are gone."""
    data = [output["data"] for output in cell.get("outputs", []) if "data" in output]
    return [sorted(each) for each in data if "".join(each.get("text/html", "-"))]


def test_its_outputs_are_stored_and_small():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    shown = [kind for cell in cells for kind in kinds(cell)]
    assert sum("image/png" in kind for kind in shown) == 3
    assert sum("text/html" in kind for kind in shown) >= 7
    assert NOTEBOOK.stat().st_size < 200_000


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.slow
def test_it_runs_and_ends_with_a_page(tmp_path, monkeypatch):
    nbformat = pytest.importorskip(
        "nbformat", reason="no notebook test without nbclient: pip install nbclient"
    )
    nbclient = pytest.importorskip(
        "nbclient", reason="no notebook test without nbclient: pip install nbclient"
    )
    pytest.importorskip("ipykernel", reason="no notebook test without a kernel: pip install ipykernel")
    # The kernel is another process, and must find what this one has found.
    root = str(NOTEBOOK.parent.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    monkeypatch.delenv("MPLBACKEND", raising=False)  # that of a notebook shows figures
    stored = [kinds(cell) for cell in notebook.cells]
    settings = next(cell for cell in notebook.cells if "RESAMPLES = 400" in cell.source)
    settings.source = settings.source.replace("RESAMPLES = 400", "RESAMPLES = 20")
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert [kinds(cell) for cell in notebook.cells] == stored
    page = (tmp_path / "own_study" / "report.html").read_text(encoding="utf-8")
    assert "own_table.csv" in page
    assert (tmp_path / "own_study" / "figures" / "tokens_per_param_systematic_bias.png").exists()
