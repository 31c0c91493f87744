"""A blinded study: can readers tell synthetic CT from real CT?"""
