"""The platforms that this project runs on: tested versions for each, and the results of the tests on each."""
