"""The model as a service that others call over HTTP: on AWS Lambda, or with dynamic batching.

What a handler in the cloud imports needs only torch and Pillow; see `schema` for the format.
"""
