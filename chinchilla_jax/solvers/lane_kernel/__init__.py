"""The batched Newton method on CPUs, one lane at a time: compiled by LLVM, run by threads.

XLA cuts a step of many lanes into some sixty kernels with arrays between them, and threads hand them to each
other; on a CPU that costs more than the arithmetic. Here a lane stays in registers and in the first-level
cache from its first step to its certificate. The method is that of solvers/jax_newton, which runs on
accelerators and wherever this cannot; tests/test_lane_kernel.py compares the two.

| module                                              | part                                               |
|-----------------------------------------------------|----------------------------------------------------|
| lane, passes, algebra, elementary, draws, lines,    | the kernel's sources, compiled by Numba            |
| compiling                                           |                                                    |
| shapes, entry_points                                | what the kernel and its callers agree on           |
| generate, lowering, fingerprint                     | for developers: make kernel.ll.xz, tell its age    |
| object_code, llvm_tools                             | from kernel.ll.xz to machine code that is kept     |
| loading, building, self_test                        | once per process: load it, or say why not          |
| kernel, engine                                      | call it                                            |
"""
