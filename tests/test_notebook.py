"""The notebook runs from its first cell to its last, and ends with a page."""

import os
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "experiments" / "own_table.ipynb"


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
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are for readers' own runs"
    settings = next(cell for cell in notebook.cells if "RESAMPLES = 100" in cell.source)
    settings.source = settings.source.replace("RESAMPLES = 100", "RESAMPLES = 10")
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    text = "".join(
        str(output.get("text", "")) for cell in notebook.cells for output in cell.get("outputs", [])
    )
    assert "CONVERGED" in text
    page = (tmp_path / "own_study" / "report.html").read_text(encoding="utf-8")
    assert "own_table.csv" in page
    assert (tmp_path / "own_study" / "figures" / "tokens_per_param_systematic_bias.png").exists()
