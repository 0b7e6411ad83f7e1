print("Hello from a pipeline of my own")
