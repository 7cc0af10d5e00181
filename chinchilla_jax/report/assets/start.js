for (const place of document.querySelectorAll("[data-explorer]"))
  (place.dataset.kind === "runs" ? exploreRuns : explore)(place);
