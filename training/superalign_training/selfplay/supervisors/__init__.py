"""Who says what is right: aligned generations, other models, personas and people."""
