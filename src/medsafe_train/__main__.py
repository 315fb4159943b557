from medsafe_train.cli import main

main()
