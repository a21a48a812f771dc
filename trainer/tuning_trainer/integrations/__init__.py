"""Trials out of training loops that are there already: a torch optimizer, Lightning, and transformers' Trainer."""
