"""Computing chunks: the job, and the threads, processes and machines that can do it."""
