"""Torture: crash a function everywhere, replay it in every order, and tell the shortest story."""
