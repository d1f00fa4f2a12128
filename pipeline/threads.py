"""How many threads a process has, and a network gets."""

# multiply-adds of a mini-batch from which more torch threads are used: at 280 million two idle cores were 1.8 times as
# fast as one, but with one of them busy 4 to 10 times as slow, so only networks that take long anyway get them
THREADED_WORK = 500_000_000


def cores() -> int:
    """Cores that are this process's to use: fewer than the machine's where taskset, SLURM or a container says so."""
    from joblib import cpu_count

    return int(cpu_count())


def choose_threads(asked: int | str, work: int) -> int:
    """Torch threads: as asked; for auto one for small networks, else one a core.

    Args:
        asked: trainer.threads.
        work: multiply-adds of a mini-batch, about rows times parameters.
    """
    if isinstance(asked, int):
        return asked
    return 1 if work < THREADED_WORK else cores()


def at_a_time(n_networks: int, threads: int) -> int:
    """Networks that are trained at the same time, each with so many torch threads: as many as there are cores for."""
    return min(n_networks, max(1, cores() // threads))
