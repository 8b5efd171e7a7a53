"""The torch side of training: encoders, adapters, distillation. Imported by jobs, never by the serving path."""
