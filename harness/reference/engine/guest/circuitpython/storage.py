# CircuitPython's storage, as far as it is about who may write.
import host


class _Mount:
    @property
    def readonly(self):
        return host.call("supervisor", "read_only") == "1"


def getmount(path):
    return _Mount()


def remount(path, readonly=False, *, disable_concurrent_write_protection=False):
    host.call("supervisor", "remount_read_only" if readonly else "remount_writable")
