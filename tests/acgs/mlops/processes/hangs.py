"""Never comes to an end."""

import sys
import threading

sys.stdin.buffer.read()
threading.Event().wait()
