print("Hello from the factory")
