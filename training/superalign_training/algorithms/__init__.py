"""How policies are improved. TRL's trainers do the work; nothing else imports trl."""
