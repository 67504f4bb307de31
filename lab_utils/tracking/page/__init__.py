from fastapi import APIRouter
def router(store, signer):
    return APIRouter()
