import hydra
import state

main = hydra.main(config_path="conf", config_name="config", version_base="1.3")(
    state.main
)

if __name__ == "__main__":
    main()
