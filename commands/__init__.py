"""What a person may type, a module for each thing that it is about; footfall.py is the table of them."""
