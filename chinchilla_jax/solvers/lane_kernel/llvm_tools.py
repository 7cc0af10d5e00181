"""What the generator and the loader of the kernel both need from LLVM."""

from __future__ import annotations

import llvmlite.binding as llvm


def initialise() -> None:
    """Make this processor known to LLVM; needed before anything else here."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def host_machine() -> llvm.TargetMachine:
    """A target for exactly this processor, with all its instructions."""
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        jit=True,
        codemodel="large",
    )


def optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine, *, vectorise: bool) -> None:
    """Optimise `module` in place; with `vectorise`, loops are vectorised and unrolled for `machine`."""
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = vectorise
    options.loop_interleaving = options.loop_unrolling = vectorise
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
