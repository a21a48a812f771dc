"""The contract between operator and trial: names, history, result and the signed control message.

Any program in any language can be a trial; these modules are its definition in Python and import nothing of ours.
"""
