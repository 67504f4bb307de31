"""The model service on AWS: what would be made and paid, making it, and removing it again.

`plan` needs neither an account, nor the network, nor boto3: it shows the calls that `apply` makes.
"""
