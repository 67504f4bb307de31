"""Trains finder and reader with Lightning: by a recipe (`follow_recipe`), on the sample pages
(`fine_tune`), or for some minutes of a GPU (`by_time`)."""
