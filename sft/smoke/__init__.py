"""The smoke run's material: real handwritten digits and a tiny PaddleOCR-VL, so that all of it runs on a CPU."""
