"""The script that makes a machine run the front end, with a deployment's settings filled in."""

import re
import shlex

from lab_utils.deploy.errors import DeployError
from text_recognizer.places import project_folder


def user_data(image: str, model_url: str = "", tunnel: str = "", host_name: str = "") -> str:
    """The text of `deploy/ec2/user_data.sh` with its settings.

    Args:
        image: of the front end, with its registry.
        model_url: the model service; "" to read with the model in the image.
        tunnel: the command that opens a way in; "" for none.
        host_name: the name under which browsers then reach the machine; "" for only localhost.

    Raises DeployError for what no machine could use.
    """
    if not re.fullmatch(r"[\w.:/@-]+", image):
        raise DeployError(f'"{image}" is not an image name; write it as REGISTRY/NAME:TAG.')
    if model_url and not re.fullmatch(r"https?://\S+", model_url):
        raise DeployError(f'"{model_url}" is not an address: it begins with https://.')
    if "\n" in tunnel:
        raise DeployError("The tunnel's command is one line.")
    if not re.fullmatch(r"[\w.*-]*", host_name):
        raise DeployError(f'"{host_name}" is not a host name: write it as app.example.org.')
    settings = {
        "IMAGE": image,
        "MODEL_URL": model_url,
        "TUNNEL": tunnel,
        "HOST_NAME": host_name,
    }
    script = (project_folder() / "deploy" / "ec2" / "user_data.sh").read_text()
    for name, value in settings.items():
        script, found = re.subn(
            rf"(?m)^{name}=''$", lambda _, n=name, v=value: f"{n}={shlex.quote(v)}", script
        )
        if found != 1:
            raise DeployError(f"deploy/ec2/user_data.sh has no line {name}='': restore the file.")
    return script
