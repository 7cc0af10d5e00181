"""What a study is: its spec, how one is read and written, and the conditions that it stands for."""
