//! Qwen-Image as an application core, for a command line, a server or a test.
