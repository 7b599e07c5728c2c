"""The engine: GLM-4.7-Flash on this machine.

Two sides of one Unix socket. Everything that imports torch (worker, scheduler, runner, model,
sampler, kernels) runs in the worker process; everything else here (engine, messages, settings,
checkpoint, chat) is torch-free and runs in the gateway.
The engine sees token ids and sampling settings; it never sees a key, an account or a wire format.
"""
