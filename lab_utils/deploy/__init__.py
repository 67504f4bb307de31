"""The model service on AWS: `deploy/template.yaml` as a CloudFormation stack, and its images.

A plan needs neither an account nor boto3: it then lists what the template makes.
"""
