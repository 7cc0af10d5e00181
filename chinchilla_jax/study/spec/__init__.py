"""What a study is: the spec, reading and writing one, and the conditions that follow from it."""
