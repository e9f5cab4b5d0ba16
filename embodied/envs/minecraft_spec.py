"""What MineRL is told of the world: what is seen, what can be done, how it begins."""

KEYS = ('forward', 'back', 'left', 'right', 'jump', 'attack')
CRAFT = ('planks', 'stick', 'crafting_table')
CRAFT_NEARBY = ('wooden_pickaxe', 'stone_pickaxe', 'iron_pickaxe', 'furnace')
NONE = 'none'


def make(size, break_speed):
    """The environment of MineRL, with the interface of the old gym, and the names of its items."""
    # Not at the top: a task can be checked without the package.
    from minerl.herobraine.env_specs import simple_embodiment
    from minerl.herobraine.hero import handlers, mc

    items = sorted({*mc.ALL_ITEMS} - {'air'})
    default = {'_other': NONE, '_default': NONE}

    class Spec(simple_embodiment.SimpleEmbodimentEnvSpec):
        def create_observables(self):
            return [
                handlers.POVObservation(self.resolution),
                handlers.FlatInventoryObservation(items),
                handlers.EquippedItemObservation(['air', *items], _default='air', _other='other'),
                handlers.ObservationFromLifeStats(),
                handlers.ObservationFromCurrentLocation(),
            ]

        def create_actionables(self):
            return [
                *(handlers.KeybasedCommandAction(k, mc.INVERSE_KEYMAP[k]) for k in KEYS),
                handlers.CameraAction(),
                handlers.PlaceBlock([NONE, 'dirt', 'crafting_table', 'furnace'], **default),
                handlers.EquipAction([NONE, 'air', *CRAFT_NEARBY[:3]], **default),
                handlers.CraftAction([NONE, *CRAFT], **default),
                handlers.CraftNearbyAction([NONE, *CRAFT_NEARBY], **default),
                handlers.SmeltItemNearby([NONE, 'iron_ingot'], **default),
            ]

        def create_agent_start(self):
            return [handlers.AgentStartBreakSpeedMultiplier(break_speed)]

        def create_server_world_generators(self):
            return [handlers.DefaultWorldGenerator(force_reset=True)]

        def create_server_quit_producers(self):
            return [handlers.ServerQuitWhenAnyAgentFinishes()]

        def create_server_initial_conditions(self):
            return [
                handlers.TimeInitialCondition(allow_passage_of_time=True, start_time=0),
                handlers.SpawningInitialCondition(allow_spawning=True),
            ]

        def create_agent_handlers(self):
            return []

        def create_rewardables(self):
            return []

        def create_server_decorators(self):
            return []

        def is_from_folder(self, folder):
            return False

        def determine_success_from_rewards(self, rewards):
            return False

        def get_docstring(self):
            return ''

    return Spec('EmbodiedMinecraft-v0', resolution=tuple(size)[::-1]).make(), items
