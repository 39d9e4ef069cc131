"""A context in which pipelines call actions that are written down and never run."""

import qiime2


class Promise:
    """The result of an action that has not run, as QIIME 2 hands it out in parallel."""

    type = qiime2.sdk.util.parse_type("AAMModel[SequenceEncoder]")

    def __init__(self, action, inputs):
        self.action, self.inputs = action, inputs

    def __getattr__(self, name):
        raise RuntimeError(f"{self.action} was waited for: its result was asked for '{name}'")


class Recorder:
    """A context whose actions are written down and never run."""

    def __init__(self):
        self.calls = []

    def get_action(self, plugin, action):
        registered = qiime2.sdk.PluginManager().plugins[plugin.replace("_", "-")].actions[action]

        def call(*inputs, **parameters):
            names = list(registered.signature.signature_order)
            given = dict(zip(names, inputs, strict=False)) | parameters
            assert set(given) <= set(names), f"{action} takes no {set(given) - set(names)}"
            for name, spec in registered.signature.signature_order.items():
                assert name in given or spec.has_default(), f"{action} needs {name}"
            self.calls.append((action, given))
            return tuple(Promise(action, given) for _ in registered.signature.outputs)

        return call

    def named(self, action):
        return [given for name, given in self.calls if name == action]
