"""May tests mount something of their own here: a container's volumes, a small disk?"""

import subprocess

CAN_MOUNT = subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
