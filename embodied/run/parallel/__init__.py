"""Training on several processes or machines: agent, replay, logger and environments as roles.

    environments --observations--> agent (actor + learner) --transitions--> replay
                 <----actions-----                         <---batches-----
                                          |--metrics--> logger

`combined` starts all roles of one machine and watches over them; `parallel_agent`,
`parallel_replay`, `parallel_logger`, `parallel_env` and `parallel_envs` are the roles on their own.
"""

from .agent import parallel_agent
from .combined import combined
from .env import parallel_env, parallel_envs
from .logger import parallel_logger
from .replay import parallel_replay

__all__ = [
    'combined',
    'parallel_agent',
    'parallel_env',
    'parallel_envs',
    'parallel_logger',
    'parallel_replay',
]
