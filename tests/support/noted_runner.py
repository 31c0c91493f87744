"""Stand-ins for SubprocessRunner, which start no process and catch no signal."""


class NotedRunner:
    """Note the arguments of the last process that would run; it fails."""

    stopped = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, *arguments: str) -> int:
        self.arguments = arguments
        return 1
