"""The main job on one machine, with an account at the end in which every token appears."""
