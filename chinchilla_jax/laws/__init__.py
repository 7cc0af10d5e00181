"""Laws of the loss, objectives, and the standardised coordinates they are fitted in."""
