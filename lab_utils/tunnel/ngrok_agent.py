"""Runs ngrok's agent with pyngrok, as a program: it ends with the agent, and the agent with it.

    python ngrok_agent.py AGENT CONFIG URL UPSTREAM SECONDS

The token is in NGROK_AUTHTOKEN. It prints one line of JSON: {"url": ...} with the public address,
or {"error": ...} if there is none. pyngrok waits for a line of the agent's without a time limit, so
our process waits for this program instead, with one. It also starts it with `lab_utils.process`,
and so no agent is left even after kill -9.
"""

import json
import signal
import sys

from pyngrok import ngrok, process
from pyngrok.conf import PyngrokConfig
from pyngrok.exception import PyngrokError


def main(agent: str, config_path: str, url: str, upstream: str, seconds: str) -> int:
    """Returns an exit code when the agent has ended."""
    # pyngrok ends the agent with this program, but not if a signal kills the program.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = PyngrokConfig(
        ngrok_path=agent,
        config_path=config_path,
        startup_timeout=int(seconds),
        request_timeout=float(seconds),
    )
    # The agent finds it in its environment; pyngrok would put it on the agent's command line.
    config.auth_token = None
    try:
        # In pyngrok's terms of ngrok's third configuration: HTTPS, and no other scheme.
        tunnel = ngrok.connect(upstream, name="lab", pyngrok_config=config, url=url)
    except (PyngrokError, OSError, ValueError) as error:
        print(json.dumps({"error": f"{error} {getattr(error, 'body', None) or ''}"}))
        return 1
    print(json.dumps({"url": tunnel.public_url}), flush=True)
    return process.get_process(config).proc.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
