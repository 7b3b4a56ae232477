"""The environments that come with rltk; importing this package registers their Gymnasium ids."""

from gymnasium.envs.registration import register, registry

from rltk_envs.suite.gym_ids import register_suite

_TEXT_GENERATION = "rltk_envs.text_generation"


def _register() -> None:
    if "rltk/TextGeneration-v0" in registry:
        return
    register(
        "rltk/TextGeneration-v0",
        entry_point=f"{_TEXT_GENERATION}_single:TextGenerationEnv",
        vector_entry_point=f"{_TEXT_GENERATION}:TextGenerationVectorEnv",
    )
    register(
        "rltk/Instruct-v0",
        entry_point="rltk_envs.instruct.gym_ids:make_instruct",
        vector_entry_point="rltk_envs.instruct.gym_ids:make_instruct_vec",
    )
    register(
        "rltk/Dialogue-v0",
        entry_point="rltk_envs.dialogue:make_dialogue",
        vector_entry_point="rltk_envs.dialogue:make_dialogue_vec",
    )
    register_suite()


_register()
