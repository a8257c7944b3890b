"""What to learn from: sources of many forms -> prepared, memory-mapped data -> splits -> batches addressed by step."""
