"""The operator's library, which the commands call: archives, servers, versions and the edge."""
