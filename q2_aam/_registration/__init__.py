"""Registration of the actions by concern; `q2_aam.plugin_setup` calls each module's register."""
