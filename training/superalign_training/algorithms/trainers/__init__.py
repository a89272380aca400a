"""What TRL's trainers are told, and what they do not do by themselves."""
